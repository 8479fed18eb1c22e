# docker build -t transom .
# docker run -p 80:8080 -v ./transom.yaml:/etc/transom/transom.yaml:ro transom
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ make cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin transom

# The program needs the C library and the authorities that TLS toward endpoints trusts, no shell.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home transom \
    && install -d -o transom -m 0700 /run/transom
COPY --from=build /src/target/release/transom /usr/local/bin/transom
USER 10001
ENV XDG_RUNTIME_DIR=/run
# SIGTERM drains for `grace`, 30 s by default: give it that (`docker stop -t 35`).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/transom"]
CMD ["run"]
