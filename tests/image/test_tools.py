"""Trees are filled the same whatever machine fills them."""

from image.tools import surroundings


def test_nothing_of_the_machine_shows_in_a_tree() -> None:
    """Where things are is told; how Python, languages and time are set on this machine is not."""
    machine = {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "0", "PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "LC_ALL": "de_DE.UTF-8",
        "LANGUAGE": "de", "TZ": "Pacific/Chatham", "SOURCE_DATE_EPOCH": "1", "DPKG_ROOT": "/x",
    }  # fmt: skip

    assert surroundings(machine) == {
        "PATH": "/usr/bin", "https_proxy": "http://proxy.example:3128", "HTTP_PROXY": "x", "NO_PROXY": "localhost",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC",
    }  # fmt: skip
