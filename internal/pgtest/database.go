package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"

	"github.com/jackc/pgx/v5"
)

// template is the database with Kea's schema that CreateDatabase copies.
const template = "kea_template"

// createTemplate makes the role kea and, as that role, Kea's schema.
func (s *Server) createTemplate(ctx context.Context) error {
	if err := s.admin(ctx,
		"CREATE ROLE "+Kea+" LOGIN PASSWORD '"+s.passwords[Kea]+"'",
		"CREATE DATABASE "+template+" OWNER "+Kea,
	); err != nil {
		return err
	}
	if err := s.createSchema(ctx, template); err != nil {
		return err
	}
	// Nobody may be connected to a database while it is copied.
	return s.admin(ctx, "ALTER DATABASE "+template+" ALLOW_CONNECTIONS false")
}

// createSchema runs Kea's script in a database.
func (s *Server) createSchema(ctx context.Context, database string) error {
	// As kea-admin runs it. psql is only a client: it runs as this process's user.
	psql := exec.CommandContext(ctx, s.programs.psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
		"--host=127.0.0.1", fmt.Sprintf("--port=%d", s.port), "--username="+Kea, "--dbname="+database,
		"--output=/dev/null", "--file="+keaScript)
	psql.Env = environment("PGPASSWORD=" + s.passwords[Kea])
	if err := run(psql); err != nil {
		return fmt.Errorf("create Kea's schema: %w", err)
	}
	return nil
}

// CreateDatabase makes a database with Kea's schema and no rows of ours,
// owned by role kea.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	quoted := pgx.Identifier{name}.Sanitize()
	if err := s.admin(ctx, "CREATE DATABASE "+quoted+" TEMPLATE "+template+" OWNER "+Kea); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// CreateEncodedDatabase is CreateDatabase for a character encoding by its
// PostgreSQL name, such as "SQL_ASCII". Those of CreateDatabase are UTF8. It
// cannot copy and so takes longer.
func (s *Server) CreateEncodedDatabase(ctx context.Context, name, encoding string) error {
	quoted := pgx.Identifier{name}.Sanitize()
	err := s.admin(ctx, "CREATE DATABASE "+quoted+" TEMPLATE template0 ENCODING '"+encoding+"' OWNER "+Kea)
	if err == nil {
		err = s.createSchema(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("create database %s with encoding %s: %w", name, encoding, err)
	}
	return nil
}

// DropDatabase removes a database and ends the sessions in it. A database that
// does not exist is no error.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	if err := s.admin(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// CreateRole makes a role that may log in and has no other right. DSN knows its
// password.
func (s *Server) CreateRole(ctx context.Context, name string) error {
	password := rand.Text()
	if err := s.admin(ctx, "CREATE ROLE "+pgx.Identifier{name}.Sanitize()+" LOGIN PASSWORD '"+password+"'"); err != nil {
		return fmt.Errorf("create role %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[name] = password
	return nil
}

// admin runs statements as superuser, each in a transaction of its own.
func (s *Server) admin(ctx context.Context, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, s.DSN("postgres", Superuser))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
