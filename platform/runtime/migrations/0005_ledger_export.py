from django.db import migrations, models

import audit.ids


class Migration(migrations.Migration):
    dependencies = [("runtime", "0004_erasures_and_retention")]
    operations = [
        migrations.CreateModel(
            name="LedgerExport",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=audit.ids.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("requester", models.CharField(max_length=64)),
                ("means", models.CharField(max_length=20, null=True)),
                ("filter", models.JSONField(default=dict)),
                ("with_bodies", models.BooleanField(default=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting"),
                            ("running", "Being made"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("pruned", "Pruned"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(null=True)),
                ("root", models.CharField(max_length=64, null=True)),
                ("selected", models.BigIntegerField(null=True)),
                ("bytes", models.BigIntegerField(null=True)),
                ("sha256", models.CharField(max_length=64, null=True)),
                ("failure", models.CharField(max_length=63, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], name="export_oldest")],
            },
        ),
    ]
