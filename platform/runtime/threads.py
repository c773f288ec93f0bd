"""The only place where asyncio steps aside into a thread, to use Django's ORM for a tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

from tenants import directory, isolation

Result = TypeVar("Result")

# Not the event loop's own threads: those look up host names, and must not wait for the database.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="tenant")


async def acting_for(tenant: str, work: Callable[[], Result]) -> Result:
    """Run `work` inside the tenant with this slug. Raises what `work` raises, and TenantUnknown.

    When the caller is cancelled, `work` still goes on to its end.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads, _act, tenant, work)


def _act(tenant: str, work: Callable[[], Result]) -> Result:
    try:
        with isolation.acting_for(directory.of_slug(tenant)):
            return work()
    finally:
        # No request ends here that would close it, and a thread may rest for long.
        connection.close()
