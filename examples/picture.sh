#!/bin/sh
# Prints the people in a picture as JSON: sh examples/picture.sh photo.jpg [http://localhost:8080]
exec curl --fail-with-body --silent --show-error --data-binary "@$1" "${2:-http://localhost:8080}/v1/poses?describe=true"
