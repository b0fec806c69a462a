"""The page in a browser: it draws itself, folds and is searched. Needs Chromium."""

import re
import shutil
import subprocess

import pytest
import torch
from torch import nn

import fxonnx

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

ACT = """<script>
{
const said = [];
window.addEventListener("error", (event) => said.push(`error: ${event.message}`));
const rows = () => document.querySelectorAll("#rows > div").length;
const search = (text) => {
  const input = document.querySelector("input");
  input.value = text;
  input.dispatchEvent(new Event("input"));
  return document.querySelector("#count").textContent;
};
said.push(`rows ${rows() > 0}`, `gelu ${search("gelu")}`, `nothing ${search("no such text")}`, `all ${search("")}`);
document.querySelector("#close").click();
const folded = rows();
document.querySelector("#open").click();
said.push(`folds ${folded < rows()}`);
document.title = said.join("; ");
}
</script>"""


def page_after_acting(page, directory):
    """What the page says in its title after the script above, in a Chromium that has no window."""
    acting = directory / "acting.html"
    acting.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{ACT}</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory / 'profile'}",
               "--dump-dom", acting.as_uri()]  # fmt: skip
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return re.search(r"<title>(.*?)</title>", dumped)[1]


def test_it_draws_itself_and_is_searched(tmp_path):
    """Without an error, and with as many lines found as there are."""
    layers = [nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(3)]
    compiled = fxonnx.compile(nn.Sequential(*layers).eval(), (torch.ones(2, 4),))
    said = page_after_acting(compiled.to_html(tmp_path / "page.html"), tmp_path)
    found = re.search(r"gelu (\d+) lines", said)
    assert "error" not in said and "rows true" in said and "folds true" in said, said
    assert found and int(found[1]) >= 3 and re.search(r"nothing (no|0) ", said), said
