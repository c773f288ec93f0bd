"""The only place for the rows that are no tenant's own: tenants, domains, users, memberships."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

from audit.ids import new_id


class Tenant(TenantMixin):
    """A customer: a schema, a role and a ledger of its own."""

    auto_create_schema = False

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


class UserManager(BaseUserManager["User"]):
    """Finds users by e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username or "")


class User(AbstractBaseUser):
    """A person, who can be a member of several tenants."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

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
