"""The document as a key in Redis, on Redis's own clock.

A script replaces the document only if it is still the one that was read; else the change is made
again. So nothing is ever locked, and the algorithm stays in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from target_activecampaign.client.rate_limit.state import StoreFailure, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.client.rate_limit.state import Document

T = TypeVar("T")

_TIMEOUT = 5.0

_KEPT_SECONDS = 24 * 3600

_REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


class RedisStore:
    """A key of a Redis server. It expires a day after its last use.

    Args:
        url: ``redis://`` or, with TLS, ``rediss://``, as redis-py takes it.
        account: The account's API address.

    Raises:
        ValueError: redis-py can't parse the URL; the message does not repeat it.
    """

    place = "the Redis server"
    is_shared = True

    def __init__(self, url: str, account: str) -> None:
        self._key = f"target-activecampaign:rate-budget:{account}"
        tls = {"ssl_check_hostname": True} if url.startswith("rediss:") else {}
        try:
            self._redis = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
                retry=Retry(NoBackoff(), 1),  # for connections that lay idle too long
                **tls,
            )
            self._redis.connection_pool.make_connection()  # reads the URL's options
        except (TypeError, ValueError):
            raise ValueError(
                "rate_budget_url is not a valid Redis URL: "
                "use redis://user:password@host:6379/0, or rediss:// with TLS."
            ) from None
        self._replace = self._redis.register_script(_REPLACE)

    def update(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        """Do as `Store.update` says, again until no other process came in between."""
        try:
            while True:
                old, now = self._read()
                new, result = change(decode(old), now)
                if new is None or self._replace(
                    [self._key], [old or b"", encode(new), _KEPT_SECONDS]
                ):
                    return result
        except redis.RedisError as error:
            raise StoreFailure(error, may_pass=_may_pass(error)) from None

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _read(self) -> tuple[bytes | None, float]:
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(self._key)
            pipeline.time()
            document, (seconds, microseconds) = pipeline.execute()
        return document, seconds + microseconds / 1e6


def _may_pass(error: redis.RedisError) -> bool:
    """Tell whether the server may just be restarting, or handing over to another."""
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.AuthorizationError)):
        return False
    away = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError)
    return isinstance(error, away) or str(error).startswith(("MASTERDOWN", "CLUSTERDOWN"))
