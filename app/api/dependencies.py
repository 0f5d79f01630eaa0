"""The parts of the service, as parameters of routes, so that each route names the parts that it works with.

`app.state.service` is None until the service is open. Until then `AvailabilityMiddleware` refuses all requests but
probes, so the routes that use these parts always find an open service.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from starlette.requests import HTTPConnection

from app.analysis.analyses import Analyses
from app.analysis.reports.reading import Reports
from app.database.connections import Database
from app.intake.intake import Intake
from app.jobs.claims.ending import AtEnd
from app.jobs.reads.reading import Reader
from app.jobs.reads.waiting import Waiting
from app.jobs.upkeep.retention import Retention
from app.recording_batches.accepting import BatchIntake
from app.recording_batches.reading import BatchReader
from app.recording_batches.retrying import Retries
from app.service import Service
from app.storage.store import AudioStore


def service_if_open(app: FastAPI) -> Service | None:
    """Returns the service that this application answers for, or None if it is not open yet."""
    service: Service | None = app.state.service
    return service


def service_of(request: HTTPConnection) -> Service:
    service = service_if_open(request.app)
    assert service is not None
    return service


async def _root_path(request: Request) -> str:
    root_path: str = request.app.state.root_path
    return root_path


async def _database(request: Request) -> Database:
    return service_of(request).database


async def _intake(request: Request) -> Intake:
    return service_of(request).intake


async def _reader(request: Request) -> Reader:
    return service_of(request).reader


async def _waiting(request: Request) -> Waiting:
    return service_of(request).waiting


async def _retention(request: Request) -> Retention:
    return service_of(request).parts.retention


async def _at_end(request: Request) -> AtEnd:
    return service_of(request).parts.at_end


async def _batch_intake(request: Request) -> BatchIntake:
    return service_of(request).batch_intake


async def _batch_reader(request: Request) -> BatchReader:
    return service_of(request).batch_reader


async def _retries(request: Request) -> Retries:
    return service_of(request).retries


async def _analyses(request: Request) -> Analyses:
    return service_of(request).analyses


async def _reports(request: Request) -> Reports:
    return service_of(request).reports


async def _store(request: Request) -> AudioStore:
    return service_of(request).parts.store


async def _service(request: Request) -> Service:
    return service_of(request)


ServiceDep = Annotated[Service, Depends(_service)]  # for routes that need most of its parts
RootPathDep = Annotated[str, Depends(_root_path)]  # links in answers begin with it
DatabaseDep = Annotated[Database, Depends(_database)]
IntakeDep = Annotated[Intake, Depends(_intake)]
ReaderDep = Annotated[Reader, Depends(_reader)]
WaitingDep = Annotated[Waiting, Depends(_waiting)]
RetentionDep = Annotated[Retention, Depends(_retention)]
AtEndDep = Annotated[AtEnd, Depends(_at_end)]
BatchIntakeDep = Annotated[BatchIntake, Depends(_batch_intake)]
BatchReaderDep = Annotated[BatchReader, Depends(_batch_reader)]
RetriesDep = Annotated[Retries, Depends(_retries)]
AnalysesDep = Annotated[Analyses, Depends(_analyses)]
ReportsDep = Annotated[Reports, Depends(_reports)]
StoreDep = Annotated[AudioStore, Depends(_store)]
