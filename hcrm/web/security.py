"""Headers of every answer (assurance.md W3) and the question whether a request came from a page of ours."""

from flask import Response, request

_ALLOWED = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Bootstrap's ticks and arrows are data: pictures inside its style sheet
    "media-src": "'self'",  # recordings of contacts
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_SECURITY_POLICY = "; ".join(f"{name} {sources}" for name, sources in _ALLOWED.items())
_A_YEAR = 365 * 24 * 3600


def set_headers(response: Response) -> Response:
    """Close an answer: nothing from elsewhere, no frame, no sniffing, nothing kept but versioned static files."""
    headers = response.headers
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    # Not no-referrer: over TLS Flask-WTF compares the referrer with the host before it trusts a form.
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
    if request.is_secure:
        headers["Strict-Transport-Security"] = f"max-age={_A_YEAR}"
    if request.endpoint == "static" and response.status_code in (200, 304):
        if "v" in request.args:
            headers["Cache-Control"] = f"public, max-age={_A_YEAR}, immutable"
    else:
        headers["Cache-Control"] = "no-store"
    return response


def is_from_own_page() -> bool:
    """Whether the browser says that a page of this host sent the request.

    A form met by an ended session is kept and sent again after the login with a fresh token. Only a form of ours
    may be kept, or another site could have its own form confirmed by our login page.
    """
    own = f"{request.scheme}://{request.host}"
    origin = request.headers.get("Origin")
    return origin == own if origin else request.headers.get("Referer", "").startswith(f"{own}/")
