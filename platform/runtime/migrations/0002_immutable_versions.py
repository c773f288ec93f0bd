from django.db import migrations

IMMUTABLE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a version of an agent is never changed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER agent_versions_are_immutable BEFORE UPDATE OR DELETE ON runtime_agentversion
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
UNDO = """
DROP TRIGGER agent_versions_are_immutable ON runtime_agentversion;
DROP FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("runtime", "0001_initial")]
    operations = [migrations.RunSQL(IMMUTABLE, UNDO)]
