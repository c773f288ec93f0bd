import audit.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runtime", "0003_step_tool_sha256")]
    operations = [
        migrations.CreateModel(
            name="ErasureRequest",
            fields=[
                ("id", models.UUIDField(default=audit.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("person", models.TextField()),
                ("legal_basis", models.CharField(max_length=200)),
                ("state", models.CharField(choices=[("requested", "Waiting for a second person"), ("done", "Erased"), ("rejected", "Rejected")], default="requested", max_length=10)),
                ("requester", models.CharField(max_length=64)),
                ("settled_by", models.CharField(max_length=64, null=True)),
                ("entry", models.UUIDField(null=True)),
                ("receipts", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="RetentionRule",
            fields=[
                ("id", models.UUIDField(default=audit.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=100, unique=True)),
                ("months", models.PositiveSmallIntegerField()),
            ],
            options={
                "ordering": ["kind"],
                "constraints": [models.CheckConstraint(condition=models.Q(("months__gte", 6)), name="six_months_at_least")],
            },
        ),
    ]
