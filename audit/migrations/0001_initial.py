"""The schema `audit`, its owner and its tables. There is no way back: a trail is not dropped."""

from __future__ import annotations

from audit import ddl_guard, schema
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


def make_schema(apps, editor):
    """Make roles, schema, tables, grants and policies, as the login role."""
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles")
        existing = {name for (name,) in cursor.fetchall()}
        name = editor.connection.settings_dict["NAME"]
        for statement in (*schema.statements(name, existing), *ddl_guard.maintenance(name)):
            cursor.execute(statement)


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunPython(make_schema),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('kind', models.TextField()),
                ('correlation', models.UUIDField(null=True)),
                ('actor_kind', models.TextField()),
                ('actor_id', models.TextField()),
                ('actor_version', models.TextField(null=True)),
                ('actor_means', models.TextField(null=True)),
                ('on_behalf_of', models.TextField(null=True)),
                ('subject', models.UUIDField(null=True)),
                ('payload', models.BinaryField()),
                ('occurred_at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."entry"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'size', blank=True, editable=False, primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('note', models.TextField()),
                ('verifier_key', models.TextField()),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."checkpoint"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Log',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('origin', models.TextField(unique=True)),
                ('role_name', models.TextField(unique=True)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."log"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='TreeHead',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'size', blank=True, editable=False, primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('root', models.BinaryField()),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."tree_head"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Body',
            fields=[
                ('entry', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='body', serialize=False, to='audit.entry')),
                ('subject', models.UUIDField()),
                ('sealed', models.BinaryField()),
            ],
            options={
                'db_table': '"audit"."body"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Leaf',
            fields=[
                ('entry', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='leaf', serialize=False, to='audit.entry')),
                ('index', models.BigIntegerField()),
                ('correlation', models.UUIDField(null=True)),
                ('sequence', models.BigIntegerField(null=True)),
                ('previous', models.BinaryField(null=True)),
                ('leaf_hash', models.BinaryField()),
            ],
            options={
                'db_table': '"audit"."leaf"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Pending',
            fields=[
                ('entry', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to='audit.entry')),
            ],
            options={
                'db_table': '"audit"."pending"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('subjects', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), null=True, size=None)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."hold"',
                'abstract': False,
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='HoldRelease',
            fields=[
                ('hold', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='release', serialize=False, to='audit.hold')),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'db_table': '"audit"."hold_release"',
                'abstract': False,
                'managed': False,
            },
        ),
    ]
