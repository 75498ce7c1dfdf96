# One image for all services; the argument says which: docker run … postern posts
FROM python:3.13-slim-trixie AS packages
COPY requirements/runtime.txt .
RUN python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement runtime.txt

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --no-create-home --home-dir /app postern \
    && install --directory --owner=postern --group=postern --mode=0700 /data
WORKDIR /app
COPY --from=packages /venv /venv
COPY . .
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    DATA_DIR=/data
# Bytecode is made now, so that nothing but /data and /tmp has to be writable later.
RUN python -m compileall -q services shared
USER postern
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["python", "-m", "services"]
CMD ["gateway"]
