# One image for every process of the Procfile; docker-compose.yml says which command each container runs.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/llm-refresh
ENV PATH=/opt/llm-refresh/bin:$PATH
# The lock alone first: its layer stays while only our own code changes.
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY shared shared
COPY worker worker
RUN pip install --no-deps --no-build-isolation .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="llm-refresh" org.opencontainers.image.version="0.1.0"
RUN groupadd --gid 10001 llm-refresh \
 && useradd --uid 10001 --gid llm-refresh --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin llm-refresh
COPY --from=build /opt/llm-refresh /opt/llm-refresh
# Nothing is written but to /tmp, which a read-only container gets as a tmpfs.
ENV PATH=/opt/llm-refresh/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LLM_REFRESH_ENV=production
WORKDIR /
USER 10001:10001
EXPOSE 3002 5555
CMD ["gunicorn", "-c", "python:worker.web.gunicorn_conf", "worker.web.wsgi:app"]
