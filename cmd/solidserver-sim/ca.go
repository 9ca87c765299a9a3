package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeCA writes the file in one step: a reader sees all of it or nothing.
func writeCA(path string, pem []byte) error {
	if path == "" {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write CA: %w", err)
	}
	_, err = file.Write(pem)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write CA: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
