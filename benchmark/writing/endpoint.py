"""An endpoint as a writer: a server that speaks OpenAI's protocol, asked several things at a time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from benchmark.core.errors import UserError, hide_secrets
from benchmark.writing.requests import MARK, Request, Sample
from benchmark.writing.settings import Endpoint as Settings

_NO_KEY = "none"  # the client demands a key, servers on one's own machine take any


class Endpoint:
    """Draws samples from a server.

    Args:
        settings: Its address, model and sampling.

    Raises:
        UserError: The variable that should hold the key is not set.
    """

    def __init__(self, settings: Settings) -> None:
        from openai import OpenAI

        self._settings = settings
        self._client = OpenAI(
            api_key=key_of(settings), base_url=settings.api, max_retries=settings.retries, timeout=settings.timeout
        )

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        """Draw the samples that are not known, several at a time, in the order in which they arrive.

        Raises:
            UserError: A request failed after all retries, or the server refused it. Samples that have arrived by then
                are yielded first.
        """
        missing = [request for request in requests if request.name not in known]
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            futures: dict[Future[Sample], Request] = {pool.submit(self._draw, request): request for request in missing}
            failure: UserError | None = None
            try:
                for future in as_completed(futures):
                    if future.cancelled():
                        continue
                    try:
                        sample = future.result()
                    except UserError as error:
                        failure = failure or error
                        pool.shutdown(wait=False, cancel_futures=True)
                        continue
                    yield futures[future], sample
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            if failure:
                raise failure

    def check(self) -> None:
        """Ask the server for its models.

        Raises:
            UserError: It does not answer, or does not have the model.
        """
        try:
            names = [model.id for model in self._client.with_options(max_retries=1, timeout=20).models.list()]
        except Exception as error:
            raise self._explained(error) from None
        if names and self._settings.model not in names:
            listed = ", ".join(sorted(names)[:5])
            raise UserError(f"writer {self._settings.api}: has no model {self._settings.model!r}; it lists {listed}")

    def _draw(self, request: Request) -> Sample:
        settings = self._settings
        options: dict[str, Any] = {
            "model": settings.model,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "seed": request.seed % 2**31,
        }
        try:
            if settings.is_chat:
                answer: Any = self._client.chat.completions.create(
                    messages=[{"role": "user", "content": request.message}], **options
                )
                text = answer.choices[0].message.content
            else:
                answer = self._client.completions.create(prompt=request.plain, stop=[MARK], **options)
                text = answer.choices[0].text
            ended = "length" if answer.choices[0].finish_reason == "length" else "stop"
        except Exception as error:  # the client raises many kinds; each means the same to the user
            raise self._explained(error) from None
        usage = answer.usage
        return Sample(
            (text or "").strip(),
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            ended,
        )

    def _explained(self, error: Exception) -> UserError:
        """The line for an error of the client, without the key that a message may repeat."""
        import openai

        settings = self._settings
        where = f"writer {settings.api}"
        if isinstance(error, (openai.APIConnectionError, openai.APITimeoutError)):
            return UserError(
                f"{where}: no answer after {settings.retries} retries ({type(error).__name__}); start the server or "
                "correct api, then run again: what is written is kept"
            )
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            named = settings.key_from or "key_from: it names none"
            return UserError(f"{where}: the server refuses the key (status {error.status_code}); check {named}")
        reason = " ".join(hide_secrets(str(error).replace(key_of(settings), "***")).split())[:200]
        return UserError(f"{where}: {type(error).__name__}: {reason}; check model and settings, then run again")


def key_of(settings: Settings) -> str:
    """The key, from the environment. Raises UserError if the variable that should hold it is not set."""
    if settings.key_from is None:
        return _NO_KEY
    if not (key := os.environ.get(settings.key_from)):
        raise UserError(f"writer {settings.api}: key_from: the variable {settings.key_from} is not set; set it")
    return key
