"""The only place where the demo makes its tenants, with their members and service keys."""

from __future__ import annotations

from countersign.installation import Installation
from countersign.processes import CannotRun
from demo.client import Client, Refused
from demo.people import CAST, SignInData, address


class Staff:
    """A tenant's people and its client app, each with a client of their own."""

    def __init__(self, tenant: str, people: dict[str, Client], app: Client) -> None:
        self.tenant = tenant
        self.app = app
        self._people = people

    def __getitem__(self, name: str) -> Client:
        return self._people[name]


def move_in(tenant: str, installation: Installation, secrets: SignInData) -> Staff:
    """The tenant with all its people; what is there already is used. Raises CannotRun, Refused."""
    admin = _admin(tenant, installation, secrets)
    _add_members(tenant, admin, secrets)
    people = {
        person.name: _signed_in(installation.port, tenant, person.name, secrets)
        for person in CAST[tenant]
    }
    return Staff(tenant, people, _client_app(tenant, admin, secrets))


def _admin(tenant: str, installation: Installation, secrets: SignInData) -> Client:
    """The first admin. An operator makes a tenant; everything else goes through the API."""
    name = CAST[tenant][0].name
    if name in secrets.of(tenant).passwords:
        try:
            return _signed_in(installation.port, tenant, name, secrets)
        except Refused:
            secrets.tenants.pop(tenant)  # of a database that is gone
    made = ["create_tenant", tenant, address(tenant, name), "--admin-name", name]
    try:
        # The password is kept first: whoever is killed here can sign in afterwards.
        password = secrets.password(tenant, name)
        installation.manage(*made, "--password-stdin", told=password)
    except CannotRun as problem:
        raise CannotRun(
            f"The tenant {tenant} can't be made, or is there without its sign-in data in"
            f" {secrets.file}.\n{problem}\nIf that file is gone, start with another folder:"
            " COUNTERSIGN_STATE_DIRECTORY=/path make demo"
        ) from None
    return _signed_in(installation.port, tenant, name, secrets)


def _signed_in(port: int, tenant: str, name: str, secrets: SignInData) -> Client:
    password = secrets.of(tenant).passwords[name]
    return Client(port, tenant).sign_in(address(tenant, name), password)


def _add_members(tenant: str, admin: Client, secrets: SignInData) -> None:
    known = {member["email"] for member in admin.each("/members")}
    for person in CAST[tenant]:
        email = address(tenant, person.name)
        if email not in known:
            wanted = {"email": email, "name": person.name, "roles": person.roles}
            password = secrets.password(tenant, person.name)
            admin.post("/members", {**wanted, "password": password})


def _client_app(tenant: str, admin: Client, secrets: SignInData) -> Client:
    """The app that talks to the tenant's customers; its key is shown once, so it is kept."""
    kept = secrets.of(tenant)
    app = Client(admin.port, tenant, kept.key)
    if not kept.key or app.ask("GET", "/me").status != 200:
        kept.key = app.token = admin.post("/keys", {"name": "Customer app"})["secret"]
        secrets.save()
    return app
