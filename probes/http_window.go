package probes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Brotli and zstd let a peer demand a window of many megabytes. The window
// only says how far back copies may reach, and no copy in the first n bytes of
// output reaches back more than n. As no more than the limit is read, the
// window that the stream declares is cut to that.

// errReach tells that more was wanted of a decoder than its cut window gives.
var errReach = errors.New("the window was cut and its reach is used up")

// reachReader ends with errReach after left bytes; negative: never.
type reachReader struct {
	from io.Reader
	left int64
}

func (r *reachReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errReach
	}
	if r.left > 0 {
		p = p[:min(int64(len(p)), r.left)]
	}
	n, err := r.from.Read(p)
	if r.left > 0 {
		r.left -= int64(n)
	}
	return n, err
}

// limitBrotliWindow cuts the window of a brotli stream (RFC 7932, section 9.1:
// 18 to 24 bits are coded in the stream's first four bits as 1 and bits-17).
// It returns how many bytes can be decoded then, -1 for all.
func limitBrotliWindow(src *bufio.Reader, limit int64) (io.Reader, int64, error) {
	start, err := src.Peek(1)
	if err != nil {
		return nil, 0, err
	}
	first, bits := start[0], 18
	for int64(1)<<bits < limit && bits < 24 {
		bits++
	}
	if first&1 == 0 || int(first>>1&7) <= bits-17 {
		return src, -1, nil
	}
	if _, err := src.Discard(1); err != nil {
		return nil, 0, err
	}
	first = first&^0x0e | byte(bits-17)<<1
	return io.MultiReader(bytes.NewReader([]byte{first}), src), int64(1)<<bits - 16, nil
}

const zstdBlock = 128 << 10 // the most that one block decodes to, bytes

// zstdWindow returns the smallest Window_Descriptor (RFC 8878, section
// 3.1.1.1.2) for output up to limit, and the window's size in bytes.
func zstdWindow(limit int64) (descriptor byte, size uint64) {
	for ; descriptor < 255; descriptor++ {
		base := uint64(1) << (10 + descriptor>>3)
		size = base + base/8*uint64(descriptor&7)
		if size >= uint64(limit)+zstdBlock {
			break
		}
	}
	return descriptor, size
}

// limitZstdWindow cuts the window of a zstd stream's first frame.
func limitZstdWindow(src *bufio.Reader, most byte) (io.Reader, error) {
	start, err := src.Peek(6)
	if err != nil || string(start[:4]) != "\x28\xb5\x2f\xfd" || start[4]&(1<<5) != 0 || start[5] <= most {
		return src, nil // the decoder will judge it
	}
	patched := append([]byte(nil), start[:5]...)
	if _, err := src.Discard(6); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(append(patched, most)), src), nil
}
