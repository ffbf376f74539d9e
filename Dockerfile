# One image for everything of ours: detector, churn service, traffic, training, seeding, sink.
# The tag was not pulled where this file is tested; there is no container engine there.
FROM python:3.11.13-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
# Before the code, so that editing the code does not install everything again.
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY detector detector
COPY simulator simulator
RUN pip install --no-deps --no-build-isolation .

# Volumes take over owner and mode of the directories they are mounted on.
RUN useradd --uid 10001 --create-home app \
    && install --directory --owner=app --group=app /data /feedback /keys /messages /var/lib/notify
USER app
# The control token is made in the working directory of the process it guards.
WORKDIR /home/app
# Compiled kernels are kept here: the installed package is not writable for this user.
ENV NUMBA_CACHE_DIR=/home/app/.cache/numba
