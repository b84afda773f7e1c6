"""Tokens for other services in the name of the caller: the on-behalf-of flow of Microsoft Entra ID.

A tool exchanges the caller's token, which the host has verified, for one that another service accepts. What the caller
may not do there, the agent cannot do for them either.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Self

from hostedagent.errors import ConfigurationError, HostError
from hostedagent.identity import current_caller

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.identity.aio import OnBehalfOfCredential

MAX_CALLERS: Final = 500
"""For how many callers' tokens the results are kept."""

_SECRETS: Final = ("client_secret", "client_certificate", "client_assertion_func")


class OnBehalfOf:
    """Exchanges the token of the current caller for tokens of other services.

    The token comes from the resolver of the host: `OidcScopeResolver`, `HeaderScopeResolver(token_header=...)`, or one
    of yours with a method `token(headers)`. It is kept in memory for its request and nowhere else, so a background turn
    that another process continues, and one that waited in the queue, have none.

    Example:
        ```python
        graph = OnBehalfOf(tenant_id="...", client_id="...", client_secret=os.environ["CLIENT_SECRET"])


        @tool
        async def list_mail() -> str:
            token = await graph.token("https://graph.microsoft.com/Mail.Read")
            ...
        ```

    Args:
        tenant_id: The tenant of the app registration.
        client_id: The app registration, for which the caller's token was issued.
        **options: Exactly one of `client_secret`, `client_certificate` and `client_assertion_func`; and whatever else
            `azure.identity.aio.OnBehalfOfCredential` takes, such as `authority` and `transport`.

    Raises:
        ConfigurationError: There is no secret, or more than one.
    """

    def __init__(self, *, tenant_id: str, client_id: str, **options: Any) -> None:
        if sum(options.get(name) is not None for name in _SECRETS) != 1:
            raise ConfigurationError(f"OnBehalfOf(...) takes exactly one of {', '.join(_SECRETS)}.")
        self._names = {"tenant_id": tenant_id, "client_id": client_id}
        self._options = options
        self._credentials: OrderedDict[bytes, OnBehalfOfCredential] = OrderedDict()

    async def token(self, *scopes: str) -> str:
        """An access token of the current caller for other services, from memory while it is valid.

        Args:
            scopes: The required scopes, for example `"https://graph.microsoft.com/User.Read"`.

        Raises:
            HostError: The caller sent no token, or the issuer refuses: consent or a second factor may be missing.
        """
        from azure.core.exceptions import AzureError

        credential = self._credential()
        try:
            return (await credential.get_token(*scopes)).token
        except AzureError as error:
            # Its text names the caller's account and request.
            raise HostError(f"No token for {' '.join(scopes)} on behalf of the caller: the issuer refused.") from error

    def credential(self) -> AsyncTokenCredential:
        """A credential of the current caller for clients of the Azure SDK.

        Make such a client in the turn and do not keep it: it keeps the caller's token.

        Raises:
            HostError: The caller sent no token.
        """
        return self._credential()

    async def aclose(self) -> None:
        """Forget all tokens and close the connections."""
        credentials, self._credentials = self._credentials, OrderedDict()
        for credential in credentials.values():
            await credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _credential(self) -> OnBehalfOfCredential:
        caller = current_caller()
        if caller.token is None:
            raise HostError("There is no token of the caller to act for: the request carried none, or it is over.")
        # By the token and the scope that was resolved from it: nothing of one caller serves another.
        place = hashlib.sha256(f"{caller.scope.key()}{caller.token}".encode()).digest()
        credential = self._credentials.get(place)
        if credential is None:
            from azure.identity.aio import OnBehalfOfCredential

            if "transport" not in self._options:
                from azure.core.pipeline.transport import AioHttpTransport

                self._options["transport"] = AioHttpTransport()  # One for all callers.
            credential = OnBehalfOfCredential(**self._names, **self._options, user_assertion=caller.token)
            self._credentials[place] = credential
            if len(self._credentials) > MAX_CALLERS:
                self._credentials.popitem(last=False)  # The connections are shared.
        self._credentials.move_to_end(place)
        return credential
