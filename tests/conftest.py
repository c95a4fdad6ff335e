"""Hypothesis without a clock: other work on the machine makes an example slow, and not wrong."""

from hypothesis import HealthCheck, settings

settings.register_profile("scelle", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("scelle")
