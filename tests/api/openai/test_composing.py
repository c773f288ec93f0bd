"""One web process: the data plane, static files and Django side by side."""

from __future__ import annotations

import httpx2
from web_process import Web


def test_a_static_file_is_kept_by_browsers_for_an_hour(web: Web) -> None:
    folder = web.log.parent / "static"
    folder.mkdir(exist_ok=True)
    (folder / "hello.css").write_text("body { color: black }")
    with httpx2.Client(base_url=web.address, verify=False) as client:
        answer = client.get("/static/hello.css")
        assert (answer.status_code, answer.text) == (200, "body { color: black }")
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = client.get("/static/hello.css", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


def test_nothing_beside_the_static_files_is_served(web: Web) -> None:
    with httpx2.Client(base_url=web.address, verify=False) as client:
        assert client.get("/static/nothing.css").status_code == 404
        assert client.get("/static/%2e%2e/web.log").status_code == 404


def test_other_addresses_are_djangos(web: Web) -> None:
    with httpx2.Client(base_url=web.address, verify=False) as client:
        answer = client.get("/", headers={"Host": "nobody.localhost"})
    assert (answer.status_code, answer.text) == (404, "There is no tenant at this address.")
