import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

# A user becomes one tenant's own. Who has memberships elsewhere stays a user of the first tenant,
# and is copied for each of the others (with the password of that time, which is the only one).
SPLIT = """
CREATE TABLE public.tenants_split AS
  SELECT m.id AS membership, m.tenant_id, m.user_id AS before, CASE
    WHEN row_number() OVER (PARTITION BY m.user_id ORDER BY m.created_at, m.id) = 1 THEN m.user_id
    ELSE gen_random_uuid() END AS after
  FROM public.tenants_membership m;
UPDATE public.tenants_user u SET tenant_id = s.tenant_id, email = lower(u.email)
  FROM public.tenants_split s WHERE s.before = u.id AND s.after = u.id;
INSERT INTO public.tenants_user (id, tenant_id, email, name, password, is_active, last_login)
  SELECT s.after, s.tenant_id, u.email, u.name, u.password, u.is_active, u.last_login
  FROM public.tenants_split s JOIN public.tenants_user u ON u.id = s.before WHERE s.after <> s.before;
UPDATE public.tenants_membership m SET user_id = s.after FROM public.tenants_split s WHERE s.membership = m.id;
DELETE FROM public.tenants_user WHERE tenant_id IS NULL;
DROP TABLE public.tenants_split;
SET CONSTRAINTS ALL IMMEDIATE;
"""

# The function's body is parsed now, so no search_path can give its names another meaning.
POLICIES = """
CREATE OR REPLACE FUNCTION public.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN (SELECT id FROM public.tenants_tenant WHERE role_name = current_user);
DROP POLICY own_members ON public.tenants_user;
CREATE POLICY own_members ON public.tenants_user
  USING (tenant_id = (SELECT public.current_tenant()));
"""

# Nobody makes temporary tables or functions, nor anything in public, that others could stumble
# over. The owner of the database alone can take it from PUBLIC; for another login role the check
# countersign.E013 says what is to be done.
NARROW = """
DO $$ BEGIN
  IF pg_has_role(current_user, (SELECT datdba FROM pg_catalog.pg_database
                                WHERE datname = current_database()), 'USAGE') THEN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
  END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_row_level_security")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="tenant",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="users",
                to="tenants.tenant",
            ),
        ),
        migrations.AlterField(
            model_name="user", name="email", field=models.EmailField(max_length=254)
        ),
        migrations.RunSQL(SPLIT),
        migrations.AlterField(
            model_name="user",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="users",
                to="tenants.tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_active", True)),
                fields=("tenant", "email"),
                name="one_active_user_an_address",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                name="addresses_in_lower_case",
            ),
        ),
        migrations.RunSQL(POLICIES),
        migrations.RunSQL(NARROW),
    ]
