# An image with nothing but sonde, built from this checkout:
#
#   docker build -t sonde .
#   docker run --rm -v "$PWD/checks.yaml:/checks.yaml:ro" sonde run /checks.yaml
#
# The time zones of `schedule` are inside the binary. Certificates that are to be
# trusted besides those of the bundle go to a file of /etc/ssl/certs.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/sonde .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/sonde /usr/bin/sonde
USER 65532:65532
ENTRYPOINT ["/usr/bin/sonde"]
