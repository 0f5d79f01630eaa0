# docker build -t callscribe .                                  for any processor
# docker build -t callscribe:cuda --build-arg VARIANT=cuda .    for NVIDIA GPUs too (x86-64)
# --build-arg SPEAKERS=1                                        also tells speakers on one track apart (90 MB)

ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS cublas
ARG VARIANT=cpu
# CTranslate2's wheel opens only this library and the driver at run time. It does not use cuDNN.
RUN mkdir /opt/cublas \
 && case "$VARIANT" in \
      cpu) ;; \
      cuda) echo 'nvidia-cublas-cu12==12.8.4.1 --hash=sha256:8ac4e771d5a348c551b2a426eda6193c19aa630236b418086020df5ba9667142' > cublas.lock \
         && pip install --no-cache-dir --no-deps --require-hashes --target wheel -r cublas.lock \
         && mv wheel/nvidia/cublas/lib/libcublas.so.12 wheel/nvidia/cublas/lib/libcublasLt.so.12 /opt/cublas ;; \
      *) echo "VARIANT must be cpu or cuda, not $VARIANT" >&2; exit 1 ;; \
    esac

FROM ${PYTHON} AS packages
ARG SPEAKERS=
COPY requirements.lock requirements-speakers.lock ./
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
    ${SPEAKERS:+-r requirements-speakers.lock}
# These are the files that an installation of the project would add. They are written here, without the code, so that a change
# of the code does not rebuild this large layer.
RUN echo /opt/callscribe > "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/callscribe.pth" \
 && printf '#!/opt/venv/bin/python\nfrom app.cli.commands import main\n\nmain()\n' > /opt/venv/bin/callscribe \
 && chmod +x /opt/venv/bin/callscribe

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Callscribe" \
      org.opencontainers.image.description="Self-hosted REST service that turns phone-call recordings into text" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 callscribe \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin callscribe \
 && install --directory --owner callscribe --group callscribe /data
COPY --from=cublas /opt/cublas /opt/cublas
COPY --from=packages /opt/venv /opt/venv
COPY app /opt/callscribe/app
COPY alembic /opt/callscribe/alembic
COPY alembic.ini /opt/callscribe/alembic.ini
RUN python -m compileall -q /opt/callscribe
ENV PATH="/opt/venv/bin:$PATH" \
    LD_LIBRARY_PATH=/opt/cublas \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ORT_DISABLE_TELEMETRY=1 \
    HOME=/data \
    CALLSCRIBE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-m", "app.cli.healthcheck"]
ENTRYPOINT ["callscribe"]
CMD ["serve", "--host", "0.0.0.0"]
