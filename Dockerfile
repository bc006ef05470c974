# qvl serve in a container.
#
#   docker build -t qvl .
#   docker run --rm -p 8080:8080 -v qvl-models:/models -e QVL_API_KEY=change-me qvl
#
# Models live in the volume /models: docker run --rm -v qvl-models:/models qvl pull. The web page is part of it where
# `make page` has built it before. Docker's own filter of system calls forbids qvl-media its namespaces; it still has its
# own filter, and Landlock. BASE: any Debian 12.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
COPY Makefile ./
COPY tools tools
RUN tools/install-deps.sh
COPY . .
RUN make -j"$(nproc)" DESTDIR=/out PREFIX=/usr install

FROM ${BASE}
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libjansson4 libnettle8 libedit2 libmicrohttpd12 \
        libcurl3-gnutls libjpeg62-turbo libpng16-16 libwebp7 libseccomp2 libavformat59 libavcodec59 libswscale6 \
        libavutil57 libheif1 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /out /
RUN useradd --system --home-dir /models --create-home --uid 10001 qvl
USER qvl
ENV HF_HOME=/models/huggingface MODELSCOPE_CACHE=/models/modelscope XDG_DATA_HOME=/models/share
VOLUME /models
EXPOSE 8080
# An address that others reach needs a key: QVL_API_KEY, or QVL_API_KEY_FILE.
ENV QVL_HOST=0.0.0.0
ENTRYPOINT ["qvl"]
CMD ["serve"]
