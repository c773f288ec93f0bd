"""The only place for the rows that say which models a tenant may ask, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import IntegrityError, models, transaction

from audit.errors import Problem
from audit.ids import new_id

SLUG = RegexValidator(
    r"^[a-z][a-z0-9.-]{0,62}\Z",
    "a slug is 1 to 63 lower-case letters, digits, dots and hyphens, a letter first",
)
DEAREST_MICROS = 10**12  # a million dollars per million tokens: what is more is a slip
LONGEST_TIMEOUT_SECONDS = 600


class GatewaySettingInvalid(Problem):
    """The {noun} is not valid: {reason}."""

    code = "gateway_setting_invalid"
    status = 422


class GatewaySlugTaken(Problem):
    """There is a {noun} with the slug {slug} already."""

    code = "gateway_slug_taken"
    status = 409


class Purpose(models.TextChoices):
    """What a model does."""

    CHAT = "chat", "Chat"
    EMBEDDINGS = "embeddings", "Embeddings"


class Setting(models.Model):
    """What providers, endpoints and routes have in common."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[SLUG])
    created_at = models.DateTimeField()

    class Meta:
        abstract = True
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug

    def insert(self) -> None:
        """Store a new row. Raises GatewaySettingInvalid, GatewaySlugTaken."""
        self._validate()
        try:
            with transaction.atomic():
                self.save(force_insert=True)
        except IntegrityError:
            noun = str(self._meta.verbose_name)
            raise GatewaySlugTaken(noun=noun, slug=self.slug) from None

    def update(self, fields: Sequence[str]) -> None:
        """Store these fields of a row that exists. Raises GatewaySettingInvalid."""
        self._validate()
        self.save(force_update=True, update_fields=fields)

    def _validate(self) -> None:
        try:
            self.full_clean(validate_unique=False, validate_constraints=False)
        except ValidationError as wrong:
            reason = "; ".join(f"{k}: {' '.join(v)}" for k, v in wrong.message_dict.items())
            noun = str(self._meta.verbose_name)
            raise GatewaySettingInvalid(noun=noun, reason=reason.rstrip(".")) from None


class Provider(Setting):
    """A tenant's account at a model API. Its key is sealed, and only the end of it is shown."""

    kind = models.CharField(max_length=30)
    base_url = models.CharField(max_length=2_000, blank=True)
    sealed_api_key = models.BinaryField(null=True, blank=True)
    api_key_ending = models.CharField(max_length=4, blank=True)
    timeout_seconds = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_TIMEOUT_SECONDS)],
    )

    class Meta(Setting.Meta):
        verbose_name = "provider"


class Endpoint(Setting):
    """One model at one provider, with its price (micros of a dollar a million tokens) and limits.

    What it answers with (provider, model, purpose, dimensions) never changes: add another one.
    """

    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="endpoints")
    model = models.CharField(max_length=200)
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    input_micros_per_million = models.BigIntegerField(
        default=0, validators=[MinValueValidator(0), MaxValueValidator(DEAREST_MICROS)]
    )
    output_micros_per_million = models.BigIntegerField(
        default=0, validators=[MinValueValidator(0), MaxValueValidator(DEAREST_MICROS)]
    )
    dimensions = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(16_000)]
    )
    max_tokens = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(10_000_000)]
    )

    class Meta(Setting.Meta):
        verbose_name = "endpoint"


class Route(Setting):
    """A name that clients and agents ask for; its choices serve it, first one first."""

    purpose = models.CharField(max_length=10, choices=Purpose.choices)

    class Meta(Setting.Meta):
        verbose_name = "route"
        permissions: ClassVar = [("invoke", "May be invoked by an agent")]


class Choice(models.Model):
    """An endpoint's place among those that serve a route; position 0 is asked first."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="choices")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="choices")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["route", "position"], name="one_endpoint_a_position"),
            models.UniqueConstraint(fields=["route", "endpoint"], name="one_position_an_endpoint"),
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.position}: {self.endpoint}"
