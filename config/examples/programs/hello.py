"""The smallest application that gunicorn can serve."""
import os


def app(environ, start_response):
    body = f"worker {os.environ['MTD_WORKER']}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
