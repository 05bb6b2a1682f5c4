"""What a launch imports, but for Ray, so that a process that was forked from this one need not."""

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import optuna  # noqa: F401
import pandas  # noqa: F401
import sklearn.datasets  # noqa: F401
import torchvision  # noqa: F401

import sweeper.cli.commands.launch
import sweeper.launch.local
import sweeper.launch.ray_session
import sweeper.launch.worker
import sweeper.tracking.projection  # noqa: F401
