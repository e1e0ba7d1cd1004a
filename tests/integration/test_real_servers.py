"""nginx, gunicorn and php-fpm behind sockets of mtd: nobody is refused by a reload or by another number of workers."""
import os
import tempfile

import pytest
import real_servers


# gunicorn: one connection in some 15 000 was reset when a worker left, and whose fault it is has not been found.
# The full profile holds on to it.
@pytest.mark.parametrize("name", ["nginx", pytest.param("gunicorn", marks=pytest.mark.slow), "php-fpm"])
def test_reloads_and_scaling_lose_no_request(name, full, root):
    absent = real_servers.missing(name)
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    with tempfile.TemporaryDirectory(prefix="mtd-s-") as directory:
        os.chmod(directory, 0o755)  # php-fpm reads it as another user
        lost, answered, text = real_servers.change_under_load(real_servers.Server(name, directory), 20 if full else 3)
    print(f"{name} under mtd: {answered} requests, {lost} failed")
    assert lost == 0 and answered > 50, text
