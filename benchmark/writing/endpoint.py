"""An endpoint as a writer: a server that speaks OpenAI's protocol, asked several things at a time."""

import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.core.errors import UserError, hide_secrets
from benchmark.writing.requests import MARK, Request, Sample
from benchmark.writing.settings import Endpoint as Settings

_NO_KEY = "none"  # the client demands a key, local servers take any
_CHECK_RETRIES, _CHECK_TIMEOUT = 1, 30.0  # of the requests of `check`; seconds
_CUT = ("length", "content_filter")  # reasons to end an answer of which a part is missing
_LISTED = 5  # models that an error names


class Endpoint:
    """Draws samples from a server.

    Args:
        settings: Its address, model and sampling.

    Raises:
        UserError: The variable that should hold the key is not set, or holds no key.
    """

    def __init__(self, settings: Settings) -> None:
        from openai import OpenAI

        self._settings = settings
        self._key = key_of(settings)
        self._client = OpenAI(
            api_key=self._key, base_url=settings.api, max_retries=settings.retries, timeout=settings.timeout
        )

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        """Draw the samples that are not known, several at a time, in the order in which they arrive.

        The threads that ask are daemons: an interrupted process does not wait for the server.

        Raises:
            UserError: A request failed after all retries, or the server refused it. Samples that still arrive are
                yielded first; no further request is sent.
        """
        waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        arrived: queue.SimpleQueue[tuple[Request, Sample] | Exception | None] = queue.SimpleQueue()
        over = threading.Event()
        missing = [request for request in requests if request.name not in known]
        for request in missing:
            waiting.put(request)

        def ask() -> None:
            try:
                while not over.is_set():
                    request = waiting.get_nowait()
                    arrived.put((request, self._draw(request)))
            except queue.Empty:
                pass
            except Exception as error:  # the thread that iterates raises it
                over.set()
                arrived.put(error)
            finally:
                arrived.put(None)

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(min(self._settings.parallel, len(missing)))]
        for thread in threads:
            thread.start()
        asking, failure = len(threads), None
        try:
            while asking:
                result = arrived.get()
                if result is None:
                    asking -= 1
                elif isinstance(result, Exception):
                    failure = failure or result
                else:
                    yield result
        finally:
            over.set()
        if failure:
            raise failure

    def check(self) -> None:
        """Ask the server for its models and, if it does not list the writer's, for one token of it.

        Not every server lists its models, or lists them under the names that it takes.

        Raises:
            UserError: The server does not answer, refuses the key, or does not have the model.
        """
        import openai

        client = self._client.with_options(max_retries=_CHECK_RETRIES, timeout=_CHECK_TIMEOUT)
        listed: list[str] = []
        try:
            listed = [str(model.id) for model in client.models.list()]
        except (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._explained(error, _CHECK_RETRIES) from None
        except Exception:  # it has no list that can be read; the next request decides
            pass
        if self._settings.model in listed:
            return
        try:
            hello: Any = [{"role": "user", "content": "Hello"}] if self._settings.is_chat else "Hello"
            self._ask(self._client.with_options(max_retries=_CHECK_RETRIES), hello, {"max_tokens": 1})
        except Exception as error:
            names = f"; it lists {', '.join(sorted(listed)[:_LISTED])}" if listed else ""
            raise UserError(f"{self._explained(error, _CHECK_RETRIES)}{names}") from None

    def _draw(self, request: Request) -> Sample:
        settings = self._settings
        options: dict[str, Any] = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "seed": request.seed % 2**31,
        }
        if not settings.is_chat:
            options["stop"] = [MARK]
        try:
            text, ended, usage = self._ask(self._client, request.chat if settings.is_chat else request.plain, options)
        except Exception as error:  # the client raises many kinds; each means the same to the user
            raise self._explained(error, settings.retries) from None
        return Sample(
            text.encode("utf-8", "replace").decode().strip(),  # a lone surrogate could not be written to a file
            int(getattr(usage, "prompt_tokens", 0) or 0),
            int(getattr(usage, "completion_tokens", 0) or 0),
            "length" if ended in _CUT else "stop",
        )

    def _ask(
        self, client: Any, prompt: str | list[dict[str, str]], options: Mapping[str, Any]
    ) -> tuple[str, str | None, Any]:
        """The answer to a prompt or chat, why it ended, and the usage that the server reports.

        Raises:
            _NoAnswer: The response is not an answer of the protocol.
            Exception: Any of the client's.
        """
        settings = self._settings
        if settings.is_chat:
            answer: Any = client.chat.completions.create(model=settings.model, messages=prompt, **options)
        else:
            answer = client.completions.create(model=settings.model, prompt=prompt, **options)
        try:
            choice = answer.choices[0]
            text = choice.message.content if settings.is_chat else choice.text
        except (AttributeError, IndexError, TypeError):
            raise _NoAnswer("the answer holds no choices") from None
        if not isinstance(text, (str, type(None))):
            raise _NoAnswer("the answer's text is no text")
        return text or "", choice.finish_reason, answer.usage

    def _explained(self, error: Exception, retries: int) -> UserError:
        """The line for an error of the client, without the key that a message may repeat."""
        import openai

        settings = self._settings
        where = f"writer {settings.api}"
        again = "run again: what is written is kept"
        if isinstance(error, UserError):
            return error
        if isinstance(error, openai.APIConnectionError):
            kind = "timeout" if isinstance(error, openai.APITimeoutError) else "no connection"
            return UserError(
                f"{where}: no answer after {retries} retries ({kind}); start the server, or correct api or timeout, "
                f"then {again}"
            )
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            remedy = f"check {settings.key_from}" if settings.key_from else "name its variable in key_from"
            return UserError(f"{where}: the server refuses the key (status {error.status_code}); {remedy}")
        if isinstance(error, (ValueError, _NoAnswer, openai.APIResponseValidationError)):
            reason = self._without_key(str(error))
            return UserError(
                f"{where}: not an answer of OpenAI's protocol ({reason}); give its address up to /v1 as api, then "
                f"{again}"
            )
        reason = self._without_key(str(error))
        if isinstance(error, openai.NotFoundError):
            return UserError(f"{where}: model {settings.model!r}: not found ({reason}); correct model or api")
        return UserError(f"{where}: {type(error).__name__}: {reason}; check model and settings, then {again}")

    def _without_key(self, text: str) -> str:
        if self._settings.key_from:
            for form in (self._key, repr(self._key)[1:-1], json.dumps(self._key)[1:-1]):  # as messages may quote it
                text = text.replace(form, "***")
        return " ".join(hide_secrets(text).split())[:200]


class _NoAnswer(Exception):
    """The server's response is not an answer as the protocol has it."""


def key_of(settings: Settings) -> str:
    """The key, from the environment.

    Raises:
        UserError: The variable that should hold it is not set, or holds characters that no key has.
    """
    if settings.key_from is None:
        return _NO_KEY
    where = f"writer {settings.api}: key_from: the variable {settings.key_from}"
    if not (key := os.environ.get(settings.key_from, "").strip()):
        raise UserError(f"{where} is not set; set it")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{where} holds characters that no key has; set it to the key alone")
    return key
