package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
)

type image struct {
	Name       string            `json:"name"`
	Files      map[string]string `json:"files"`
	Entrypoint []string          `json:"entrypoint"`
	User       string            `json:"user"`
}

// One layer, without times or owners, so that the same files make the same image.
func makeImage(target string, wanted image) error {
	layer, err := wanted.layer()
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": wanted.Entrypoint, "User": wanted.User},
		"rootfs": map[string]any{
			"type":     "layers",
			"diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))},
		},
	})
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]map[string]any{{
		"Config":   configName,
		"RepoTags": []string{wanted.Name},
		"Layers":   []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}
	archive, err := archive([]entry{
		{configName, config, 0o644},
		{"layer.tar", layer, 0o644},
		{"manifest.json", manifest, 0o644},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(target, archive, 0o644)
}

func (wanted image) layer() ([]byte, error) {
	var entries []entry
	for inside, outside := range wanted.Files {
		content, err := os.ReadFile(outside)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{strings.TrimPrefix(inside, "/"), content, 0o755})
	}
	sort.Slice(entries, func(a, b int) bool { return entries[a].name < entries[b].name })
	return archive(entries)
}

type entry struct {
	name    string
	content []byte
	mode    int64
}

func archive(entries []entry) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, one := range entries {
		size := int64(len(one.content))
		header := &tar.Header{Name: one.name, Size: size, Mode: one.mode, Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(one.content); err != nil {
			return nil, err
		}
	}
	err := writer.Close()
	return buffer.Bytes(), err
}
