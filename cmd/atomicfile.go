package cmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// atomicFile is a file that appears under its name when it is whole: a reader
// never sees half a report, and a failed run keeps the one before.
type atomicFile struct {
	*os.File
	target string // empty when written in place, as a device or a pipe is
}

// createAtomic opens a file that commit will put at path. It refuses a path
// that could not be written without it.
func createAtomic(path string) (*atomicFile, error) {
	if inherited(path) {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		return &atomicFile{File: file}, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createBeside(path, 0)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return &atomicFile{File: old}, nil
	}
	if err := old.Close(); err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	return createBeside(path, info.Mode().Perm())
}

// inherited reports whether the path names a stream that this process was
// given, such as /dev/stderr. Behind it may be a file that others write to, too.
func inherited(path string) bool {
	path = filepath.ToSlash(filepath.Clean(path))
	return path == "/dev/stderr" || strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/self/fd/")
}

// createBeside makes the temporary file, in the same folder so that renaming
// it is one step. Without a mode, the umask decides.
func createBeside(path string, mode fs.FileMode) (*atomicFile, error) {
	name := filepath.Join(filepath.Dir(path), ".sonde-"+rand.Text()[:12]+".tmp")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) { // the user knows the file by its own name
			pathErr.Path = path
		}
		return nil, err
	}
	f := &atomicFile{File: file, target: path}
	if mode == 0 {
		return f, nil
	}
	if err := file.Chmod(mode); err != nil {
		f.discard()
		return nil, err
	}
	return f, nil
}

// commit makes the file appear under its name.
func (f *atomicFile) commit() error {
	if f.target == "" {
		return f.Close()
	}
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.target)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// discard drops what was written.
func (f *atomicFile) discard() {
	_ = f.Close() // the error that led here is the one to tell
	if f.target != "" {
		_ = os.Remove(f.Name())
	}
}
