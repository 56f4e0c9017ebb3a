# The images for those who have a container engine: docker build --target tidegate .
# `cargo xtask image` writes the same ones without an engine; the recipe is there.
FROM rust:1.95-bookworm AS build
WORKDIR /tidegate
COPY . .
RUN cargo xtask image
RUN for archive in target/images/release/*.tar; do \
        name=$(basename "$archive" .tar); \
        mkdir -p "/images/$name" /tmp/archive; \
        tar -xf "$archive" -C /tmp/archive; \
        for layer in /tmp/archive/*.tar; do tar -xf "$layer" -C "/images/$name"; done; \
        rm -r /tmp/archive; \
    done

FROM scratch AS files
ENV PATH=/usr/local/bin
USER 65532:65532

FROM files AS tidegate
COPY --from=build /images/tidegate /
ENTRYPOINT ["/usr/local/bin/tidegate-controller"]

FROM files AS keyed-count-socket
COPY --from=build /images/keyed-count-socket /
ENTRYPOINT ["/usr/local/bin/keyed-count-socket"]

FROM files AS word-count
COPY --from=build /images/word-count /
ENTRYPOINT ["/usr/local/bin/word-count"]
