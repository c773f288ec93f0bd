from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runtime", "0002_immutable_versions")]
    operations = [
        migrations.AddField(
            model_name="step",
            name="tool_sha256",
            field=models.CharField(max_length=64, null=True),
        ),
    ]
