#!/bin/sh
# Makes a private certificate authority and a certificate for the broker:
# make-certificates.sh DIRECTORY NAME-OR-ADDRESS...
set -eu
umask 077

directory=$1
shift
names=
for name in "$@"; do
    case $name in
        *[!0-9.]*) names="$names,DNS:$name" ;;
        *) names="$names,IP:$name" ;;
    esac
done

mkdir -p "$directory"
cd "$directory"
if ! [ -e ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=tidegate site CA" -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.pem 2>/dev/null
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout broker.key -out broker.csr 2>/dev/null
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "${names#,}" > broker.ext
openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 \
    -extfile broker.ext -out broker.pem 2>/dev/null
rm broker.csr broker.ext
chmod 644 ca.pem broker.pem
echo "copy ca.pem to the devices, broker.pem and broker.key to the broker"
echo "move ca.key to a safe place off this machine"
