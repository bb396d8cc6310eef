"""What every route is given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from api.compose import Service
from api.schemas import Where

TIME = 'As people write it: "yesterday 14:00", "10 minutes ago", ISO 8601 or, for a file, "00:12:31".'


def service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def where(
    stream: Annotated[list[str], Query(description="Names or ids; all when absent.")] = [],  # noqa: B006  # read only
    start: Annotated[str | None, Query(alias="from", description=TIME)] = None,
    end: Annotated[str | None, Query(alias="to", description=TIME)] = None,
) -> Where:
    return Where.model_validate({"streams": stream, "from": start, "to": end})


Parts = Annotated[Service, Depends(service)]
Place = Annotated[Where, Depends(where)]
From = Annotated[str | None, Query(alias="from", description=TIME, examples=["last hour"])]
To = Annotated[str | None, Query(alias="to", description=TIME, examples=["now"])]
At = Annotated[str, Query(description=f"{TIME} `now` for the newest.", examples=["now", "00:12:31"])]
