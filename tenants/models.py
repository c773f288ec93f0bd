"""The only place for the rows that are no tenant's own: tenants, domains, users, memberships."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django_tenants.models import DomainMixin, TenantMixin

from audit.ids import new_id


class Tenant(TenantMixin):
    """A customer: a schema, a role and a ledger of its own."""

    auto_create_schema = False
    # django-tenants' own way in keeps one list for all threads: `with acting_for(tenant):` instead.
    __enter__ = None

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(
        max_length=30, unique=True, validators=[RegexValidator(r"^[a-z][a-z0-9-]{1,29}\Z")]
    )
    name = models.CharField(max_length=200)
    role_name = models.CharField(max_length=63, unique=True)
    configuration_version = models.BigIntegerField(default=1)
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.slug


class Domain(DomainMixin):
    """A host name of a tenant's console and API."""

    def __str__(self) -> str:
        return str(self.domain)


class Role(models.TextChoices):
    """What a member may do in a tenant."""

    ADMIN = "admin", "Admin"
    BUILDER = "builder", "Builder"
    REVIEWER = "reviewer", "Reviewer"
    AUDITOR = "auditor", "Compliance officer"
    VIEWER = "viewer", "Viewer"


class User(AbstractBaseUser):
    """A person as one tenant knows them.

    Whoever works for two tenants is two users, with two ids and two passwords: what an admin of one
    tenant sets, sees or tries tells and opens nothing in another. With their membership a user is
    ended for good; the same address added again is a new user.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="users")
    email = models.EmailField()
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)

    # What is unique everywhere. People sign in with their address, which is unique in a tenant.
    USERNAME_FIELD = "id"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email", "name"]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(is_active=True),
                name="one_active_user_an_address",
            ),
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="addresses_in_lower_case"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's roles in one tenant."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    roles = ArrayField(models.CharField(max_length=10, choices=Role.choices))
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "tenant"], name="one_membership_a_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id}"
