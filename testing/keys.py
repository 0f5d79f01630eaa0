"""Makes API keys of the database for tests."""

from collections.abc import Sequence

from app.access import keys
from app.access.callers import DEFAULT_TENANT, USUAL_SCOPES, Limits, Scope
from app.access.keys import NewKey
from testing.listening import Listening


async def bearer(
    served: Listening,
    name: str = "crm",
    tenant: str = DEFAULT_TENANT,
    scopes: Sequence[Scope] = tuple(USUAL_SCOPES),
    **limits: float,
) -> dict[str, str]:
    """The header of a new key with these limits. The server knows the key."""
    database = served.service.database
    new = NewKey(name=name, tenant=tenant, scopes=scopes, created_by="test", limits=Limits(**limits))  # type: ignore[arg-type]
    async with database.transaction() as session:
        _, key = await keys.create(session, new)
    await served.service.api_keys.load(database)
    return {"Authorization": f"Bearer {key}"}
