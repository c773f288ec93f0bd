from __future__ import annotations

import django.contrib.postgres.fields
from django.db import migrations, models

# What the rows know of who may not vote. The author of the agent's version is not among it:
# approvals that were open before wait a day at the most.
FILL = """
UPDATE governance_approval SET excluded = array_remove(
    ARRAY[requester, NULLIF(agent_author, ''), intent ->> 'on_behalf_of'], NULL
)
"""


class Migration(migrations.Migration):
    dependencies = [("governance", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="approval",
            name="excluded",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=200), default=list, size=None
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
