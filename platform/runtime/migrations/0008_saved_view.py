from django.db import migrations, models

import audit.ids


class Migration(migrations.Migration):
    dependencies = [("runtime", "0007_streams")]
    operations = [
        migrations.CreateModel(
            name="SavedView",
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
                ("owner", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=100)),
                ("filters", models.JSONField()),
                ("shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["name", "id"],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "name"), name="one_view_a_name")
                ],
            },
        ),
    ]
