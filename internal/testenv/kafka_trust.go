package testenv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"os"
)

// systemTrust writes the certificates that this machine trusts into a file that Java can read. The format is JKS, version 2;
// without a password Java does not ask for the checksum at its end.
func systemTrust(path string) error {
	rest, err := os.ReadFile(cmp.Or(os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		return err
	}
	var entries []byte
	count := uint32(0)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		const trusted, created = 2, 0
		entries = binary.BigEndian.AppendUint32(entries, trusted)
		entries = append(entries, fmt.Sprintf("\x00\x04%04d", count)...) // its name
		entries = binary.BigEndian.AppendUint64(entries, created)
		entries = append(entries, "\x00\x05X.509"...)
		entries = binary.BigEndian.AppendUint32(entries, uint32(len(block.Bytes)))
		entries = append(entries, block.Bytes...)
		count++
	}
	head := binary.BigEndian.AppendUint32([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), count)
	return os.WriteFile(path, bytes.Join([][]byte{head, entries}, nil), 0o600)
}
