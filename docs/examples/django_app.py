# ruff: noqa: INP001 - an example is a file, not a package
"""Django under ASGI: refold's receiver beside Django, in what is usually asgi.py.

A webhook never enters Django: its middleware would read the body, and its CSRF check would refuse it. Under WSGI, call
`engine.receive_webhook` in a view as flask_app.py does, with `@csrf_exempt` and `request.body`.

pip install 'refold[server]' django
REFUNDS_DB=sqlite:///refunds.db EVONET_KEY=... uvicorn django_app:app
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from starlette.applications import Starlette
from starlette.routing import Mount

from refold.adapters import Evonet, SigningKey
from refold.engine import Money, RefundEngine
from refold.engine.web import Metrics, create_app

metrics = Metrics()
engine = RefundEngine.open(
    os.environ["REFUNDS_DB"],
    gateways=[Evonet(keys=[SigningKey("evonet-1", os.environ["EVONET_KEY"])])],
    on_append=metrics.appended,
)


@csrf_exempt  # yours will have a login instead
@require_POST
def ask(request: HttpRequest, payment_id: str, refund_id: str) -> JsonResponse:
    """Ask for a refund."""
    amount = Money(int(request.GET["minor"]), request.GET["currency"])
    asked = engine.request(gateway="evonet", payment_id=payment_id, refund_id=refund_id, amount=amount)
    return JsonResponse(asked.to_json())


def state(_: HttpRequest, refund_id: str) -> JsonResponse:
    """Tell how a refund stands."""
    return JsonResponse(engine.refund(refund_id).to_json())


urlpatterns = [
    path("payments/<str:payment_id>/refunds/<str:refund_id>", ask),
    path("state/<str:refund_id>", state),
]
settings.configure(ALLOWED_HOSTS=["your.example"], ROOT_URLCONF=__name__)

app = Starlette(
    routes=[
        Mount("/refunds", create_app(engine, metrics=metrics)),  # POST /refunds/webhooks/evonet
        Mount("/", get_asgi_application()),  # everything else is Django's
    ]
)
