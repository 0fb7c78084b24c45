"""Label Studio's server, through its SDK: address and token, retries, and errors that say what to do.

Address and token come from `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`, in the environment or in `.env` of the
repository, which git ignores. They stand in no parameter, no log and no error message.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pipeline.core.errors import ConfigError, SightlineError
from pipeline.services.tracking import masked, root

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk import LabelStudio

URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
FILES = 100  # Django takes no more in one request
PAGE = 1000  # tasks a page of a listing
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between the attempts to reach a server that does not answer
ATTEMPTS = 5  # times that one batch is sent to a server that goes away and comes back
TIMEOUT = 120.0  # seconds; what takes longer is broken, not slow
HOW = f"set {URL} and {TOKEN} in the environment or in .env; `make labelstudio` starts a server of the project's own"

T = TypeVar("T")


class UnreachableError(SightlineError):
    """The server went away, or was never there; whether it took the last request is not known."""


class Project(dict[str, Any]):
    """A project as the server describes it."""

    @property
    def id(self) -> int:
        """The number by which the server knows it."""
        return int(self["id"])

    @property
    def tasks(self) -> int:
        """Tasks that it holds."""
        return int(self["task_number"])

    @property
    def annotations(self) -> int:
        """Annotations that it holds."""
        return int(self["total_annotations_number"])


class Server:
    """A Label Studio server.

    Args:
        url: address, `http://127.0.0.1:8080`.
        token: access token of a user.
        waits: seconds between attempts.

    Every method raises SightlineError where the server refuses, and `UnreachableError` where it does not answer.
    """

    def __init__(self, url: str, token: str, waits: Sequence[float] = WAITS) -> None:
        self.url = masked(url.rstrip("/"))
        self._address = url.rstrip("/")
        self._token = token
        self._waits = waits
        self._sdk: LabelStudio | None = None

    @classmethod
    def configured(cls) -> "Server":
        """The server of the environment or `.env`. Raises ConfigError where they do not name one."""
        from dotenv import dotenv_values  # noqa: PLC0415

        values = {**dotenv_values(root() / ".env"), **os.environ}
        url, token = (values.get(URL) or "").strip(), (values.get(TOKEN) or "").strip()
        if not url or not token:
            missing = " and ".join(name for name, value in ((URL, url), (TOKEN, token)) if not value)
            raise ConfigError(f"{missing} not set; {HOW}")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{URL} must begin with http:// or https://; {HOW}")
        return cls(url, token)

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a resource."""
        return self._answer(self._ask("GET", path, query=query), path)

    def get_bytes(self, path: str, **query: object) -> bytes:
        """A resource byte for byte."""
        return self._ask("GET", path, query=query).content

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Change something, once: it is never asked for twice, because the first request may have been taken."""
        data = json.dumps(body).encode()  # the SDK's own encoder takes as long as the server's import
        headers = {"Content-Type": "application/json"}
        return self._answer(self._ask(method, path, content=data, headers=headers, waits=()), path)

    def version(self) -> str:
        """The server's release."""
        return str(self.get("api/version").get("release", "unknown"))

    def project(self, title: str) -> Project:
        """The project with this title. Raises SightlineError where there is none."""
        found = self.find_project(title)
        if found is None:
            raise SightlineError(f"{self.url} has no project {title!r}; run: sightline labels setup")
        return found

    def find_project(self, title: str) -> Project | None:
        """The project with this title, None where there is none. Raises SightlineError where there are several."""
        listed = self.get("api/projects/", title=title, page_size=PAGE)["results"]
        same = [project for project in listed if project["title"] == title]
        if len(same) > 1:
            numbers = ", ".join(str(number) for number in sorted(project["id"] for project in same))
            raise SightlineError(
                f"{self.url} has {len(same)} projects {title!r} (numbers {numbers}); rename all but one, or set "
                "labelling.project"
            )
        return Project(same[0]) if same else None

    def tasks(self, project: Project, *fields: str) -> Iterator[Mapping[str, Any]]:
        """These fields of all tasks, a page at a time."""
        query = {"project": project.id, "page_size": PAGE, "fields": "all", "include": ",".join(fields)}
        count, page = 0, 1
        while True:
            answer = self.get("api/tasks", page=page, **query)
            yield from answer["tasks"]
            count, page = count + len(answer["tasks"]), page + 1
            if not answer["tasks"] or count >= answer["total"]:
                return

    def import_tasks(self, project: Project, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Add tasks, with their predictions and annotations."""
        self.send("POST", f"api/projects/{project.id}/import", list(tasks))

    def upload(self, project: Project, files: Mapping[str, bytes]) -> None:
        """Add files to the project without making tasks of them."""
        parts = [(name, (name, data, "application/octet-stream")) for name, data in files.items()]
        path = f"api/projects/{project.id}/import"
        for i in range(0, len(parts), FILES):
            self._ask("POST", path, query={"commit_to_project": "false"}, files=dict(parts[i : i + FILES]), waits=())

    def uploads(self, project: Project) -> dict[str, str]:
        """Address of each uploaded file by the name under which it was sent."""
        files = self.get(f"api/projects/{project.id}/file-uploads", all="true")
        return {f["file"].rsplit("/", 1)[1].split("-", 1)[-1]: f"/data/{f['file']}" for f in files}

    def export(self, project: Project, ids: Sequence[int]) -> bytes:
        """The JSON export of some tasks, byte for byte."""
        query = {"exportType": "JSON", "download_all_tasks": "true", "ids[]": [str(i) for i in ids]}
        return self.get_bytes(f"api/projects/{project.id}/export", **query)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        waits: Sequence[float] | None = None,
        **body: Any,
    ) -> "httpx.Response":
        """One answer; attempts go on while the server does not answer, and end at once where it refuses."""
        left = list(self._waits if waits is None else waits)
        while True:
            try:
                response = self._try(method, path, params=query, **body)
                break
            except UnreachableError:
                if not left:
                    raise
            time.sleep(left.pop(0))
        return self._checked(response)

    def _try(self, method: str, path: str, **more: Any) -> "httpx.Response":
        """One attempt. Raises `UnreachableError` where another may succeed and can do no harm."""
        import httpx  # noqa: PLC0415

        try:
            response = self._transport(path, method=method, request_options=_ONCE, **more)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ConfigError(f"{URL} is no address that can be used ({type(error).__name__}); {HOW}") from None
        except httpx.TransportError as error:
            if "CERTIFICATE" in str(error):
                self._refuse_certificate(error)
            if method != "GET" and isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                self._leave_open(f"did not answer within {TIMEOUT:g} s")
            raise UnreachableError(
                f"Label Studio at {self.url} does not answer ({type(error).__name__}); start it "
                f"(`make labelstudio`), or check {URL}"
            ) from None
        if response.status_code < 500 and response.status_code != 429:
            return response
        if method != "GET":
            self._leave_open(f"answers {response.status_code} ({self._said(response)})")
        raise UnreachableError(f"Label Studio at {self.url} answers {response.status_code} ({self._said(response)})")

    def _leave_open(self, what: str) -> NoReturn:
        raise SightlineError(
            f"Label Studio at {self.url} {what}; whether it took the request is not known: run the command again, "
            "what it took is not sent twice"
        ) from None

    @property
    def _transport(self) -> Callable[..., "httpx.Response"]:
        """The SDK's own transport: it knows both kinds of token; its typed calls cost a millisecond a task."""
        if self._sdk is None:
            from label_studio_sdk import LabelStudio  # noqa: PLC0415 - a second

            self._sdk = LabelStudio(base_url=self._address, api_key=self._token, timeout=TIMEOUT)  # type: ignore[no-untyped-call]
        request: Callable[..., httpx.Response] = self._sdk._client_wrapper.httpx_client.request  # noqa: SLF001
        return request

    def _checked(self, response: "httpx.Response") -> "httpx.Response":
        status = response.status_code
        if status in {401, 403}:
            raise SightlineError(
                f"Label Studio at {self.url} refuses the token ({status}); copy a valid one from Account & Settings "
                f"into {TOKEN}"
            )
        if status == 404:
            raise SightlineError(
                f"Label Studio at {self.url} has no such resource ({self._said(response)}): the project or task is "
                "gone, or the address is another server's; check labelling.project, then run: sightline labels setup"
            )
        if status >= 400:
            raise SightlineError(f"Label Studio at {self.url} refuses ({status}): {self._said(response)}")
        return response

    def _said(self, response: "httpx.Response") -> str:
        """What the server says went wrong, in at most 300 characters and without the token."""
        try:
            answer = response.json()
            text = str(answer.get("validation_errors") or answer.get("detail") or answer)
        except (ValueError, AttributeError):
            text = response.reason_phrase
        return masked(text.replace(self._token, "***"))[:300]

    def _refuse_certificate(self, error: Exception) -> NoReturn:
        raise SightlineError(
            f"the certificate of Label Studio at {self.url} is not trusted ({type(error).__name__}); put your "
            "authority's certificate into SSL_CERT_FILE"
        ) from None

    def _answer(self, response: "httpx.Response", path: str) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise SightlineError(
                f"what answers at {self.url}/{path} is no Label Studio (no JSON); check {URL}"
            ) from None


_ONCE = {"max_retries": 0}  # the SDK would send a POST again that the server may have taken


def insist(send: Callable[[list[T]], None], missing: Callable[[list[T]], list[T]], things: list[T]) -> None:
    """Send things once each, though the server go away in between.

    Args:
        send: sends things; `UnreachableError` where the server goes away, which leaves open what it took.
        missing: which of the things the server does not have; it waits for the server to come back.
        things: what to send.
    """
    for attempt in range(ATTEMPTS):
        try:
            send(things)
        except UnreachableError:
            things = missing(things)
            if things and attempt == ATTEMPTS - 1:
                raise
        else:
            return
        if not things:
            return
