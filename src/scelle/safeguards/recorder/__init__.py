"""Record every request to a generator of pictures, and what came of it, before anybody gets a picture.

The proxy (`proxy`) and the receiver of OpenTelemetry (`otlp`) are modules of their own: they need the extra `recorder`.
"""

from scelle.safeguards.recorder.context import Generation, Recorder, RecordingMiddleware
from scelle.safeguards.recorder.model import Mode, Position, check_surface
from scelle.safeguards.recorder.spool import Spool

__all__ = ["Generation", "Mode", "Position", "Recorder", "RecordingMiddleware", "Spool", "check_surface"]
