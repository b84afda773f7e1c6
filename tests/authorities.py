"""The certificates of clients whose tests talk to services of their own, without TLS."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import trustme


@pytest.fixture(scope="package", autouse=True)
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Trust one authority instead of the system's hundreds: each client reads all of them, and none needs any."""
    file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield
