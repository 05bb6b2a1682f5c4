# One image for MLflow, Ray and one-off commands, with the exact packages of constraints.txt. Any Debian-like base with
# Python 3.11 or newer and its venv module will do: docker build --build-arg BASE_IMAGE=… .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python3 -m venv /opt/sweeper
# The packages change more seldom than the code: a layer of their own.
COPY pyproject.toml constraints.txt ./
RUN python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *p['optional-dependencies']['cluster'], *p['optional-dependencies']['s3'], \
        sep='\n')" > requirements.txt \
    && /opt/sweeper/bin/pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY trainers trainers
COPY search_spaces search_spaces
COPY sweeper sweeper
COPY reports reports
RUN /opt/sweeper/bin/pip install --constraint constraints.txt --no-deps .

FROM ${BASE_IMAGE}
# A C compiler, because selection on CPUs is compiled for the machine it runs on: docs/decisions/0006.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home sweeper \
    && install --directory --owner=sweeper --group=sweeper /storage /data /artifacts
COPY --from=builder /opt/sweeper /opt/sweeper
COPY docker/ /opt/
ENV PATH=/opt/sweeper/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /home/sweeper
CMD ["sweeper", "--help"]
