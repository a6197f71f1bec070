"""From one checkpoint format to another: conversion, inspection, model cards, push."""
