# One image for MLflow, Ray and one-off commands, with the exact packages of constraints.txt. Any Debian-like base with
# Python 3.11 or newer and its venv module will do: docker build --build-arg BASE_IMAGE=… .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS requirements
COPY pyproject.toml .
RUN python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *p['optional-dependencies']['cluster'], *p['optional-dependencies']['s3'], \
        sep='\n')" > /requirements.txt

# The packages change more seldom than the code and the rest of pyproject.toml: a layer of their own.
FROM ${BASE_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/sweeper
COPY --from=requirements /requirements.txt /build/
COPY constraints.txt /build/
RUN /opt/sweeper/bin/pip install --constraint /build/constraints.txt --requirement /build/requirements.txt

FROM packages AS builder
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY trainers trainers
COPY search_spaces search_spaces
COPY sweeper sweeper
COPY reports reports
RUN /opt/sweeper/bin/pip wheel --no-deps --wheel-dir /wheels .

FROM ${BASE_IMAGE}
# A C compiler, because selection on CPUs is compiled for the machine it runs on: docs/decisions/0006.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home sweeper \
    && install --directory --owner=sweeper --group=sweeper /storage /data /artifacts
# What seldom changes is in layers of its own: new code is a layer of a megabyte, not of several gigabytes.
COPY --from=packages /opt/sweeper /opt/sweeper
COPY --from=builder /wheels /wheels
RUN /opt/sweeper/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
COPY docker/ /opt/
# Containers are read-only but for /tmp. Triton compiles its kernels where it may write, and the driver keeps its own.
ENV PATH=/opt/sweeper/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib TRITON_HOME=/tmp/cache CUDA_CACHE_PATH=/tmp/cache/cuda \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/inductor
USER 10001:10001
WORKDIR /home/sweeper
CMD ["sweeper", "--help"]
